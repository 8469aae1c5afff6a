# A Gradio Space in name only: the page is Streamlit's, in a child, on the Hub's port.
import os

os.system("streamlit run page.py --server.port 7860 --server.address 0.0.0.0 --server.headless true")
