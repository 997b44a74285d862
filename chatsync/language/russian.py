"""The sentences in Russian; chatsync/language/english.py has the same ones. Pure."""

from collections.abc import Mapping

SENTENCES: Mapping[str, str | tuple[str, ...]] = {
    "until": "до {time}",
    "until_further_notice": "до особого распоряжения",
    "days": ("{count} день", "{count} дня", "{count} дней"),
    "hours": "{hours} ч {minutes} мин",
    "minutes": "{minutes} мин",
    # explain's answer, to paste into the reply: head + reason; outlook
    "answer": "{head}{reason}; {outlook}.",
    "answer.off": "Чат поддержки у клиента {client} выключен",
    "answer.off_since": "Чат поддержки у клиента {client} выключен с {day}",
    "answer.on": "Чат поддержки у клиента {client} включён",
    "answer.on_since": "Чат поддержки у клиента {client} включён с {day}",
    "answer.off_as_listed": ", потому что клиент есть в списке исключений",
    "answer.off_though_not_listed": ", хотя клиента нет в списке исключений",
    "answer.on_though_listed": ", хотя клиент есть в списке исключений",
    "answer.on_as_not_listed": ", и в списке исключений клиента нет",
    "answer.other_cause": "если чата не видно, причина не в этом списке",
    "answer.rejected": "в строке {row} списка стоит «{value}», а это не номер клиента: её должны исправить "
    "владельцы списка",
    "answer.nothing": "когда отдел продаж уберёт клиента из списка, ближайшая синхронизация снова включит чат",
    "answer.change.off": "ближайшая синхронизация его выключит",
    "answer.change.on": "ближайшая синхронизация его включит",
    "answer.full_run.off": "ближайшая полная синхронизация его выключит",
    "answer.full_run.on": "ближайшая полная синхронизация его включит",
    "answer.disabled": "синхронизация отключена {until}, поэтому пока всё останется как есть",
    "answer.refused.off": "синхронизацию остановил лимит: она выключит чат, когда дежурные её разрешат",
    "answer.refused.on": "синхронизацию остановил лимит: она включит чат, когда дежурные её разрешат",
    "answer.row_refused.off": "база данных не даёт выключить чат: причину должны выяснить дежурные",
    "answer.row_refused.on": "база данных не даёт включить чат: причину должны выяснить дежурные",
    "answer.list_older.off": "этот список не применяется, потому что уже применён более новый: выключать ли чат, "
    "решают дежурные",
    "answer.list_older.on": "этот список не применяется, потому что уже применён более новый: включать ли чат, "
    "решают дежурные",
    "answer.shard_away": "одна из баз данных сейчас недоступна, поэтому неизвестно, когда синхронизация это исправит",
    "answer.no_list": "список сейчас не читается, поэтому неизвестно, почему это так и надолго ли",
    "answer.no_modtime": "синхронизация сейчас не работает, и всё останется как есть, пока дежурные её не починят",
    # … of a client whose chat is not known: who + why
    "answer.unknown": "{listed}, но {why}.",
    "answer.unknown.listed": "Клиент {client} есть в списке исключений",
    "answer.unknown.not_listed": "Клиента {client} нет в списке исключений",
    "answer.unknown.may_be_listed": "Возможно, клиент {client} есть в списке исключений",
    "answer.unknown.no_shard": "в базах данных такого клиента нет: проверьте номер",
    "answer.unknown.shard_away": "база данных этого клиента сейчас недоступна: спросите позже",
    "answer.unknown.shard_missing": "шарда {shard}, где он живёт, нет в настройках синхронизации: его должны добавить "
    "дежурные",
}
