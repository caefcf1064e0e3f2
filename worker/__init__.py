"""The worker: takes jobs from the queue, decodes their files, runs networks on them, and stores genre probabilities.

`genremill worker` starts the supervisor, which starts one Celery worker process for each device. docs/architecture.md
says what the folders here do, and which of them may import which.
"""
