"""The playground: conversations with the core's models. Talks to the core over HTTP; knows neither torch nor Gradio."""
