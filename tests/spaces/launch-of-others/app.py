import gradio as gr


class Browser:
    def launch(self, headless=True):
        return "browser" if headless else "window"


class Playwright:
    chromium = Browser()


def rev(text):
    # demo.launch(share=False)
    return text[::-1] + Playwright().chromium.launch()


HELP = "call demo.launch() to start"
gr.Interface(rev, "text", "text", description=HELP).launch()
