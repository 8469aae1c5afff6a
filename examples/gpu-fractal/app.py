import gradio as gr
import spaces
import torch

device = "cuda" if torch.cuda.is_available() else "cpu"


@spaces.GPU(duration=10)
def julia(real, imaginary, size=512, steps=64):
    axis = torch.linspace(-1.5, 1.5, int(size), device=device)
    z = torch.complex(axis[None, :].expand(int(size), -1).clone(), axis[:, None].expand(-1, int(size)).clone())
    c = torch.complex(torch.tensor(float(real)), torch.tensor(float(imaginary))).to(device)
    age = torch.zeros(z.shape, device=device)
    for _ in range(int(steps)):
        z = torch.where(z.abs() < 2, z * z + c, z)
        age += z.abs() < 2
    shade = (age / steps).sqrt()
    picture = torch.stack([shade, shade**3, 1 - shade], dim=-1)
    return (picture * 255).to(torch.uint8).cpu().numpy(), f"Drawn on {device}"


with gr.Blocks(title="GPU Fractal") as demo:
    gr.Markdown("# Julia set")
    with gr.Row():
        real = gr.Slider(-1, 1, value=-0.8, label="Real part")
        imaginary = gr.Slider(-1, 1, value=0.156, label="Imaginary part")
    button = gr.Button("Draw", variant="primary")
    picture = gr.Image(label="Picture", format="png")
    where = gr.Textbox(label="Device", interactive=False)
    button.click(julia, [real, imaginary], [picture, where], api_name="julia")

if __name__ == "__main__":
    demo.queue().launch(server_name="0.0.0.0", server_port=7860)
