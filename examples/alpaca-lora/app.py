import fire
import gradio as gr
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

ABOUT = "Below is an instruction that describes a task"
WITH_INPUT = ", paired with an input that provides further context"
ASKED = ". Write a response that appropriately completes the request.\n\n"


def prompt_of(instruction, context):
    """The words that Alpaca was trained with."""
    if context:
        return f"{ABOUT}{WITH_INPUT}{ASKED}### Instruction:\n{instruction}\n\n### Input:\n{context}\n\n### Response:\n"
    return f"{ABOUT}{ASKED}### Instruction:\n{instruction}\n\n### Response:\n"


def main(base_model: str = "", lora_weights: str = "tloen/alpaca-lora-7b", share_gradio: bool = False):
    if not base_model:
        raise SystemExit("Say which LLaMA to load: --base_model huggyllama/llama-7b")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float16 if device == "cuda" else torch.float32
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    model = AutoModelForCausalLM.from_pretrained(base_model, dtype=dtype).to(device)
    model = PeftModel.from_pretrained(model, lora_weights, dtype=dtype).to(device).eval()

    def follow(instruction, context="", temperature=0.1, top_p=0.75, top_k=40, beams=4, max_new_tokens=128):
        prompt = tokenizer(prompt_of(instruction, context), return_tensors="pt").to(device)
        config = GenerationConfig(
            temperature=temperature,
            top_p=top_p,
            top_k=int(top_k),
            num_beams=int(beams),
            max_new_tokens=int(max_new_tokens),
            do_sample=temperature > 0 and beams == 1,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
        with torch.inference_mode():
            ids = model.generate(input_ids=prompt.input_ids, attention_mask=prompt.attention_mask, generation_config=config)
        return tokenizer.decode(ids[0, prompt.input_ids.shape[1] :], skip_special_tokens=True).strip()

    gr.Interface(
        fn=follow,
        inputs=[
            gr.Textbox(lines=2, label="Instruction", placeholder="Tell me about alpacas."),
            gr.Textbox(lines=2, label="Input", placeholder="none"),
            gr.Slider(0, 1, value=0.1, label="Temperature"),
            gr.Slider(0, 1, value=0.75, label="Top p"),
            gr.Slider(0, 100, step=1, value=40, label="Top k"),
            gr.Slider(1, 4, step=1, value=4, label="Beams"),
            gr.Slider(1, 2000, step=1, value=128, label="Max tokens"),
        ],
        outputs=gr.Textbox(lines=5, label="Output"),
        title="Alpaca-LoRA",
        description=f"{lora_weights} over {base_model}, on {device}.",
        api_name="follow",
    ).queue().launch(server_name="0.0.0.0", share=share_gradio)


if __name__ == "__main__":
    fire.Fire(main)
