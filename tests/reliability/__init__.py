"""Real trainings against killed processes, machines and servers, seen from outside.

Nothing here looks into `fer`: commands are started as processes, something is done to them, and in the end the record
in the store must be that of a training to which nothing happened.
"""
