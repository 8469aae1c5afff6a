import os

import gradio as gr
from text_generation import Client
from text_generation.errors import BadRequestError, OverloadedError, UnknownError, ValidationError

API_URL = os.environ.get("API_URL")
API_TOKEN = os.environ.get("API_TOKEN")

# Guanaco was trained on conversations that begin so.
HEADER = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
MAX_PROMPT_TOKENS = 999


def turn(question, answer=""):
    return f"### Human: {question}\n### Assistant:{answer}"


def prompt_of(message, history):
    """The conversation as one text: pairs of turns, and a last one that is open."""
    questions = [entry["content"] for entry in history if entry["role"] == "user"]
    answers = [entry["content"] for entry in history if entry["role"] == "assistant"]
    past = "".join("\n" + turn(question, f" {answer}") for question, answer in zip(questions, answers))
    return HEADER + past + turn(message)


def answer(message, history, temperature, top_p, max_new_tokens, repetition_penalty):
    if not API_URL:
        raise gr.Error("This Space asks a TGI server. Give it one: spaces-runner run … --model guanaco-7b")
    client = Client(API_URL, headers={"Authorization": f"Bearer {API_TOKEN}"}, timeout=60)
    stream = client.generate_stream(
        prompt_of(message, history),
        do_sample=True,
        temperature=max(temperature, 0.01),
        top_p=min(top_p, 0.99),
        max_new_tokens=int(max_new_tokens),
        repetition_penalty=repetition_penalty,
        stop_sequences=["### Human:", "\n###"],
        truncate=MAX_PROMPT_TOKENS,
        seed=42,
    )
    text = ""
    try:
        for event in stream:
            if not event.token.special:
                text += event.token.text
                yield text.partition("### Human:")[0].strip()
    except (BadRequestError, OverloadedError, UnknownError, ValidationError) as error:
        raise gr.Error(str(error)) from error


demo = gr.ChatInterface(
    answer,
    type="messages",
    title="Guanaco Playground",
    description=f"Answers come from `{API_URL or 'no server yet'}`.",
    additional_inputs=[
        gr.Slider(0, 1, value=0.7, label="Temperature"),
        gr.Slider(0, 1, value=0.9, label="Top-p"),
        gr.Slider(1, 2048, value=256, step=1, label="Max new tokens"),
        gr.Slider(1, 2, value=1.2, label="Repetition penalty"),
    ],
    api_name="chat",
)

demo.queue(default_concurrency_limit=16).launch(share=False)
