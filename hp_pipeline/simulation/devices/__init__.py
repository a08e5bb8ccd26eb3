"""Servers on loopback that speak the devices' own protocols and answer with what happens in a simulated house.

`world` says what the house does at a moment and what time it is there; each protocol has a module of its own. Every
fault that a server was told to make is logged in its `injected`, so that what the pipeline says can be compared.
"""
