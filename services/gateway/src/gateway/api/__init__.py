"""The public REST API: one router per subject, put together by app.py."""
