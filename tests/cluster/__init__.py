"""A cluster on one machine: PostgreSQL under Patroni, three hubs and a load balancer, each in a network namespace.

`python -m tests.cluster up | test | down`; docs/contributing.md says how to use it, docs/scaling.md what came of it.
"""
