"""What becomes of a claimed job: its tracks are decoded, predicted and stored.

runtime         what all jobs of a worker process share: the database, decode processes, models, the result writer
loaded_models   the models of the process, each with its engine, loaded on first use
job_run         one job, from its first track to its last
job_progress    how many tracks of a job are stored
track_run       one track, from its windows to its outcome
track_sink      the windows of one track on their way from the decode processes through the engine
peak_pass       holds a track's windows back until the loudest moment of the whole track is known
result_writer   outcomes into the database, many to a transaction
prefetch        how many jobs a worker should hold
"""
