import streamlit as st

st.title("Backwards")
st.write(undefined_word[::-1])
