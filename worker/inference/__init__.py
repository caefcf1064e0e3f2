"""Windows into probabilities on one device. Knows no Celery and no SQL."""
