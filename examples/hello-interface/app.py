import gradio as gr


def greet(name, times):
    return " ".join([f"Hello {name or 'world'}!"] * int(times))


demo = gr.Interface(
    fn=greet,
    inputs=[gr.Textbox(label="Name"), gr.Slider(1, 5, value=1, step=1, label="Times")],
    outputs=gr.Textbox(label="Greeting"),
    title="Hello",
    api_name="greet",
)

demo.launch()
