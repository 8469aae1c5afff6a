import uvicorn

uvicorn.run("web.main:app", host="0.0.0.0", port=7860)
