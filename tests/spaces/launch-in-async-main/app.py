import asyncio

import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")


async def main():
    demo.launch(prevent_thread_lock=True)
    await asyncio.Event().wait()


asyncio.run(main())
