"""Clients for Amazon S3, SQS and compatible services, and the translation of their errors."""
