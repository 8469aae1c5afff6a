import streamlit as st

st.title("Backwards"
