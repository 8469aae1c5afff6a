FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends git git-lfs && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/spaces-runner
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
RUN pip install --no-cache-dir --no-deps .
ENV SPACES_RUNNER_HOME=/var/lib/spaces-runner
VOLUME /var/lib/spaces-runner
EXPOSE 7860
CMD ["python", "-m", "app", "--host", "0.0.0.0", "--port", "7860"]
