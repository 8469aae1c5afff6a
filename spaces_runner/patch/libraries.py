"""What is known of libraries whose objects have a `launch`: tables of names, nothing else."""

from __future__ import annotations

import sys

# Libraries whose objects are never Gradio's. Everything else that cannot be seen is UNKNOWN.
FOREIGN_ROOTS = frozenset(
    """
    accelerate browser_use browserbase camoufox crawl4ai cuda cupy cv2 dask deepspeed diffusers docker fastapi fiftyone
    flask httpx huggingface_hub ipywidgets jax kaggle launchpad matplotlib mlflow modal nodriver numba numpy openai
    pandas patchright PIL playwright plotly psutil pycuda pyngrok pyppeteer pyppeteer2 ray rebrowser_playwright requests
    sagemaker selenium seleniumbase sglang sky splinter streamlit taichi tensorboard tensorflow tilelang torch
    transformers triton undetected_chromedriver uvicorn vllm wandb warp
    """.split()  # noqa: SIM905  # a table of words reads better without seventy pairs of quotes
)
STDLIB = frozenset(sys.stdlib_module_names)
BROWSERS = frozenset({"chromium", "firefox", "webkit"})  # playwright's, whatever its object is called
# Objects of other libraries whose `launch` is Gradio's or hands its arguments on to it.
WRAPPERS = frozenset({"fastrtc.Stream().ui", "smolagents.GradioUI()", "smolagents.gradio_ui.GradioUI()"})
