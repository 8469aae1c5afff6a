from gradio import *


def rev(text):
    return text[::-1]


Interface(rev, "text", "text").launch()
