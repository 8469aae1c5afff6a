import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def home():
    return {"hello": "world"}


@app.get("/rev")
def rev(text: str):
    return text[::-1]


uvicorn.run(app, host="0.0.0.0", port=7860)
