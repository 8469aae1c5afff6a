import fire
import gradio as gr


def main(base_model: str = "", server_name: str = "0.0.0.0", share_gradio: bool = False):
    assert base_model, "Please specify a --base_model"

    def rev(text):
        return base_model + text[::-1]

    gr.Interface(fn=rev, inputs="text", outputs="text").queue().launch(server_name=server_name, share=share_gradio)


if __name__ == "__main__":
    fire.Fire(main)
