"""MQTT: messages of a broker as readings, acknowledged to the broker only once they are stored durably.

`source` listens, `connection` speaks the protocol (paho-mqtt on the event loop), `messages` makes readings of payloads,
`redelivery` knows what is stored already.
Light: the collector imports this.

What is sent while nobody listens waits at the broker, in a session that outlives connections (QoS 1, fixed client id,
session expiry). Two things are the broker's: it keeps a session over its own restart only with persistence, and it
keeps only what was *published* with QoS 1 (mosquitto: `queue_qos0_messages true` for devices that publish with QoS 0,
and `max_queued_messages` for how many).
"""

from hp_pipeline.sources.mqtt.messages import Message, MessageReader
from hp_pipeline.sources.mqtt.source import MqttListener, open_source

__all__ = ["Message", "MessageReader", "MqttListener", "open_source"]
