def rev(text):
    return text[::-1]
