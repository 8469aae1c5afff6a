import os

client = os.environ["OAUTH_CLIENT_ID"]
