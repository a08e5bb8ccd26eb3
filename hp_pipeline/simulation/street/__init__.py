"""The demo street: houses on one weather, each with the devices of its heat pump, which speak their real protocols.

`life` is what happens in a house from its first day on, without end; `houses` says who lives there; `history` writes
what their devices told before anybody asked, as files; `server` lets the devices answer on loopback; `trouble` is
what goes wrong with them, and what became of it; `truth` is what the pipeline should find; `plan` keeps what was
decided when the street was made.
"""
