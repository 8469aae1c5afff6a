import sys
from pathlib import Path

import streamlit as st
from words import backwards

if not Path("README.md").exists():
    raise RuntimeError("the working directory is not the Space's root")

if "again" not in st.session_state:
    st.session_state.again = True
    st.rerun()

if st.secrets["WORD"] != 'äb"c\nd':
    raise RuntimeError("the secret is another")

st.set_page_config(page_title="Backwards")
st.write(backwards("abc"), sys.argv[1:])
if len(sys.argv) > 1:
    st.stop()
raise RuntimeError("the owner's arguments do not arrive")
