"""From audio files to windows of int16 PCM, in processes that may die of a file.

In the parent, from the outside in:

    pool            DecodePool: files in, blocks of windows out
    sink            what those blocks are, and what gets them
    child_thread    the thread that owns one decode process
    child_handle    one decode process as its parent sees it
    closable_queue  the queues that pool and threads share
    readahead       asks slow storage for files in time

Between parent and decode process: protocol. In the decode process, from the outside in:

    child           the process itself
    windows         which windows of a file, in blocks
    native          regions of a file at its own rate and with its own channels
    audio_file      one open file: its readers in turn
    resampling      a reader's samples at another rate
    readers         one module for each library that reads audio files
    downmix         samples of any type and any number of channels to mono
"""
