"""`make schemas`: writes the JSON Schema of every message on the bus to libs/msgkit/schemas/."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from msgkit.contracts import events, facts, manifest, presence

FOLDER = Path(__file__).resolve().parent.parent / "libs" / "msgkit" / "schemas"
MESSAGES: tuple[type[BaseModel], ...] = (
    events.MessageReceived,
    events.MessageEdited,
    events.MessageDeleted,
    events.MessageEchoed,
    events.MessageRecalled,
    events.ReactionChanged,
    events.ContactChanged,
    events.ContactAvailability,
    events.DeliveryReported,
    events.MediaSettled,
    events.ChannelHealthReported,
    events.HumanAgentRefused,
    events.ConversationPoked,
    events.WebhookReceived,
    events.SendMessage,
    events.CancelSend,
    events.ReadChat,
    facts.FactsEnvelope,
    manifest.ManifestAnnounced,
    presence.TypingNoticed,
    presence.ViewingNoticed,
)


def schemas() -> dict[str, str]:
    """File name (`message.received.v1.json`) → schema text."""
    found = {}
    for model in MESSAGES:
        schema = model.model_json_schema(mode="serialization")
        name = schema["properties"]["type"]["const"]
        found[f"{name}.json"] = json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    return found


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (FOLDER / name).write_text(text)
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
