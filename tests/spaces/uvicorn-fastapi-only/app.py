import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def home():
    return {"hello": "world"}


uvicorn.run(app, host="0.0.0.0", port=7860)
