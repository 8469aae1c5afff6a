"""Headless Chromium for tests."""
