import os

exec(os.environ["APP_CODE"])
