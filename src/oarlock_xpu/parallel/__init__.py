"""Models over several devices: ``parallel="tp=2"`` splits products among them, ``"pp=2"`` gives each some of the layers.

plan.py      what the option says, and the programs of an artifact       split.py    tensor parallel: weights by columns, rows and heads
stages.py    pipeline parallel: stages of near equal modelled cost        session.py  the workers of a session, by TVM's Disco
worker.py    the process of one worker
"""
