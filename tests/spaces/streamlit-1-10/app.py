import streamlit as st

st.title("Backwards")
st.write(st.text_input("Text", "abc")[::-1])
