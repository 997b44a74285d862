"""The sentences in English; chatsync/language/russian.py has the same ones. Pure."""

from collections.abc import Mapping

SENTENCES: Mapping[str, str | tuple[str, ...]] = {
    "until": "until {time}",
    "until_further_notice": "until further notice",
    "days": ("{count} day", "{count} days"),
    "hours": "{hours} h {minutes} min",
    "minutes": "{minutes} min",
    # explain's answer, to paste into the reply: head + reason; outlook
    "answer": "{head}{reason}; {outlook}.",
    "answer.off": "The support chat is off for client {client}",
    "answer.off_since": "The support chat has been off for client {client} since {day}",
    "answer.on": "The support chat is on for client {client}",
    "answer.on_since": "The support chat has been on for client {client} since {day}",
    "answer.off_as_listed": ", because the client is on the exclusion list",
    "answer.off_though_not_listed": ", although the client is not on the exclusion list",
    "answer.on_though_listed": ", although the client is on the exclusion list",
    "answer.on_as_not_listed": ", and the client is not on the exclusion list",
    "answer.other_cause": "if it does not show, the cause is not this list",
    "answer.rejected": "row {row} of the list holds {value!r}, which is no client id: its owners have to correct it",
    "answer.nothing": "once the sales team has taken it off the list, the next sync turns the chat on again",
    "answer.change.off": "the next sync turns it off",
    "answer.change.on": "the next sync turns it on",
    "answer.full_run.off": "the next full sync turns it off",
    "answer.full_run.on": "the next full sync turns it on",
    "answer.disabled": "the sync is switched off {until}, so it stays like this for now",
    "answer.refused.off": "the sync is held back by a limit, and turns it off once its operators have released it",
    "answer.refused.on": "the sync is held back by a limit, and turns it on once its operators have released it",
    "answer.row_refused.off": "the database refuses to turn it off: the operators have to see why",
    "answer.row_refused.on": "the database refuses to turn it on: the operators have to see why",
    "answer.list_older.off": "the sync does not take this list, as a later one was synced: its operators decide "
    "whether it turns it off",
    "answer.list_older.on": "the sync does not take this list, as a later one was synced: its operators decide "
    "whether it turns it on",
    "answer.shard_away": "a database can't be read at the moment, so it is not known when the sync changes that",
    "answer.no_list": "the list can't be read at the moment, so it is not known why, nor for how long",
    "answer.no_modtime": "the sync fails at the moment, so it stays like this until its operators have repaired it",
    # … of a client whose chat is not known: who + why
    "answer.unknown": "{listed}, but {why}.",
    "answer.unknown.listed": "Client {client} is on the exclusion list",
    "answer.unknown.not_listed": "Client {client} is not on the exclusion list",
    "answer.unknown.may_be_listed": "Client {client} may be on the exclusion list",
    "answer.unknown.no_shard": "the databases do not know this client: please check the number",
    "answer.unknown.shard_away": "the database where it lives can't be read at the moment: please ask again later",
    "answer.unknown.shard_missing": "the sync does not know shard {shard}, where it lives: its operators have to add "
    "that shard",
}
