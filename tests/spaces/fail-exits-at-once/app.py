print("model is not available here")
raise SystemExit(3)
