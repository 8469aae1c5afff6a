import gradio as gr


def main():
    return gr.Interface(lambda text: text[::-1], "text", "text")


main()
print('nothing is launched')
