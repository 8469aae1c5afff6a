import os

creator = os.environ["SPACE_CREATOR_USER_ID"]
