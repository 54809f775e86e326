"""Checks a compose file: its schema, and that the services and volumes that it names are there."""

import sys

import yaml
from compose_spec import PyCompose

with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
PyCompose.from_yaml(text).validate()
compose = yaml.safe_load(text)
wrong = []
for name, service in compose["services"].items():
    for other in service.get("depends_on", {}):
        if other not in compose["services"]:
            wrong.append(f"services.{name}.depends_on.{other}: there is no such service")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if not source.startswith((".", "/")) and source not in compose.get("volumes", {}):
            wrong.append(f"services.{name}.volumes: there is no volume {source}")
if wrong:
    sys.exit("\n".join(wrong))
