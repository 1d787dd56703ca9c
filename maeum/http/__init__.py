"""Requests, their documentation and the page."""
