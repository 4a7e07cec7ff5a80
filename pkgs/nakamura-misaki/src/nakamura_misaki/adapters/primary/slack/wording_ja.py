"""The answers' words in Japanese."""

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

from nakamura_misaki.adapters.primary.slack.blocks import cut
from nakamura_misaki.adapters.primary.slack.intents import (
    Incomplete,
    Language,
    Missing,
    Span,
    TaskAction,
)
from nakamura_misaki.adapters.primary.slack.wording import EXAMPLES_JA, Match, Trouble
from nakamura_misaki.domain.note import LegSkipped
from nakamura_misaki.domain.rules import MAX_TITLE_CHARACTERS
from nakamura_misaki.domain.task import TaskStatus

_CATEGORIES = {
    "code_changes": "コード変更",
    "decisions": "決定",
    "errors": "エラー",
    "learnings": "学び",
    "todos": "TODO",
}
_CHANGED = {
    TaskAction.START: "タスクを進行中にしました",
    TaskAction.COMPLETE: "タスクを完了にしました",
    TaskAction.REOPEN: "タスクを未着手に戻しました",
    TaskAction.CANCEL: "タスクを取りやめにしました",
}
_MISSING = {
    Missing.TITLE: "タスクの名前がありません。",
    Missing.CONTENT: "内容がありません。",
    Missing.PERSON: "相手がわかりません。「@名前」で書いてください。",
    Missing.TIME: "日時がありません。",
    Missing.ID: "どれのことかわかりません。IDを書いてください。",
}
_TROUBLES = {
    Trouble.NO_TASK: "{detail} というタスクはありません。「タスク一覧」でIDを確認してください。",
    Trouble.NO_HANDOFF: "{detail} という引き継ぎはありません。「引き継ぎ一覧」でIDを確認してください。",
    Trouble.SEVERAL_TASKS: "{detail} に当てはまるタスクがいくつかあります。IDをもっと長く書いてください。",
    Trouble.SEVERAL_HANDOFFS: "{detail} に当てはまる引き継ぎがいくつかあります。IDをもっと長く書いてください。",
    Trouble.NOT_YOUR_TASK: "タスク {detail} を変えられるのは、担当者と登録した人だけです。",
    Trouble.NOT_YOUR_HANDOFF: "引き継ぎ {detail} を完了にできるのは、渡す人と受け取る人だけです。",
    Trouble.TITLE_TOO_LONG: f"タスクの名前が長すぎます。{MAX_TITLE_CHARACTERS}文字までにしてください。",
    Trouble.CATEGORY_TOO_LONG: "分類の名前が長すぎます。255文字までにしてください。",
    Trouble.SAME_PERSON: "自分には引き継げません。別の人を「@名前」で書いてください。",
    Trouble.HANDOFF_COMPLETED: "引き継ぎ {detail} はもう完了しています。",
    Trouble.NOTHING_TO_SAVE: "このメッセージには文字がないため、メモにできません。",
    Trouble.NOT_YOUR_QUESTION: "このボタンを押せるのは、削除を頼んだ人だけです。",
    Trouble.TOO_LATE: "確認の期限が切れました。もう一度「タスク {detail} を削除」と書いてください。",
    Trouble.INVALID: "この内容では登録できません。「ヘルプ」で書き方を確認してください。",
    Trouble.UNEXPECTED: (
        "すみません、うまく処理できませんでした。もう一度試して、続くようなら管理者に"
        "この番号を伝えてください: {detail}"
    ),
}

_SPANS = {
    Span.ALL: "",
    Span.TODAY: "今日の",
    Span.TOMORROW: "明日の",
    Span.WEEK: "今週の",
}


class Japanese:
    """``Wording`` in Japanese."""

    language: Language = "ja"
    statuses: ClassVar[Mapping[TaskStatus, str]] = {
        TaskStatus.PENDING: "未着手",
        TaskStatus.IN_PROGRESS: "進行中",
        TaskStatus.COMPLETED: "完了",
        TaskStatus.CANCELLED: "取りやめ",
    }
    matches: ClassVar[Mapping[Match, str]] = {
        Match.GOOD: "よく合う",
        Match.WORDS: "一部の言葉が一致",
        Match.NEAR: "関連があるかも",
    }
    skipped: ClassVar[Mapping[LegSkipped, str]] = {
        LegSkipped.EMBEDDING_FAILED: (
            "意味での検索がいま使えないため、言葉の一致だけで探しました。少し待つと意味でも探せます。"
        ),
        LegSkipped.MODEL_REPLACED: (
            "意味での検索の準備が変わったため、言葉の一致だけで探しました。管理者が設定を合わせると意味でも探せます。"
        ),
        LegSkipped.NO_EMBEDDER: "意味での検索は設定されていないため、言葉の一致だけで探しました。",
        LegSkipped.NOT_STORED: "この保存先では意味での検索ができないため、言葉の一致だけで探しました。",
    }
    labels: ClassVar[Mapping[TaskAction, str]] = {
        TaskAction.START: "着手",
        TaskAction.COMPLETE: "完了",
        TaskAction.REOPEN: "未着手に戻す",
        TaskAction.CANCEL: "取りやめ",
    }
    delete = "削除する"
    keep = "やめる"
    due = "期限"
    overdue = "期限切れ"
    no_due = "期限なし"
    assignee = "担当"
    receiver = "受け取る人"
    giver = "渡す人"
    at = "日時"
    next_steps = "次の手順"
    task = "タスク"
    note_saved = "メモしました"
    task_added = "タスクを登録しました"
    task_deleted = "タスクを削除しました"
    task_kept = "削除をやめました"
    handoff_added = "引き継ぎを登録しました"
    handoff_completed = "引き継ぎを完了にしました"
    is_past = "この日時はもう過ぎています。違っていたら、日付も書いて登録し直してください。"
    ask_otherwise = (
        "探せるのはあなたのメモです。短い言葉ひとつ(例: 移行)や、別の言い方で聞いてみてください。"
        "「メモ: …」と書けば、次から見つかります。"
    )
    only_near = "同じ言葉を含むメモはありません。近いかもしれないもの:"
    no_handoffs = "あなたへの引き継ぎはありません。"
    help = (
        (
            "メモを探す・残す",
            (
                ("聞くだけで、あなたのメモから探します", "DB移行の決定事項は？"),
                ("メモを残す", "メモ: DB移行はPostgreSQL 16に決定"),
                ("分類をつけて残す", "メモ(決定): リリースは金曜"),
            ),
        ),
        (
            "タスク",
            (
                ("登録する", "タスク登録: API統合テスト 期限: 明日15時"),
                ("ほかの人に頼む", "タスク登録: 議事録 担当: @佐藤 期限: 来週月曜"),
                ("見る", "今日のタスクは？ / タスク一覧"),
                ("変える", "タスク 7c3dace1 を進行中に / 完了 / 削除"),
            ),
        ),
        (
            "引き継ぎ",
            (
                ("渡す", "「APIテストは8割完了」を @佐藤 に明日9時から引き継ぎ 次: 残りを確認"),
                ("見る", "引き継ぎ一覧"),
                ("終える", "ハンドオフ 7c3dace1 完了"),
            ),
        ),
    )

    def category(self, name: str) -> str:
        return _CATEGORIES.get(name, name)

    def found(self, notes: int) -> str:
        return f"メモが{notes}件見つかりました"

    def not_found(self, question: str) -> str:
        return f"「{cut(question, 200)}」に答えるメモは見つかりませんでした。"

    def changed(self, action: TaskAction) -> str:
        return _CHANGED[action]

    def tasks(self, count: int, span: Span) -> str:
        return f"{_SPANS[span]}タスク {count}件"

    def no_tasks(self, span: Span) -> str:
        whose = "終わっていない" if span is Span.ALL else f"期限が{_SPANS[span]}"
        return f"{whose}タスクはありません。"

    def handoffs(self, count: int) -> str:
        return f"あなたへの引き継ぎ {count}件"

    def more(self, count: int) -> str:
        return f"ほか {count:,} 件"

    def confirm_deletion(self, title: str) -> str:
        return f"タスク「{cut(title, 200)}」を削除しますか？ このタスクの引き継ぎも消えます。"

    def reminder(self, lead: timedelta) -> str:
        minutes = int(lead.total_seconds() // 60)
        return (
            f"{minutes}分前に受け取る人へお知らせします。"
            if minutes
            else "時間になったら受け取る人へお知らせします。"
        )

    def cant_become(self, status: TaskStatus, action: TaskAction) -> str:
        return f"このタスクはいま「{self.statuses[status]}」なので、「{self.labels[action]}」にはできません。"

    def incomplete(self, incomplete: Incomplete) -> str:
        shown = cut(incomplete.detail, 60)
        example = EXAMPLES_JA[incomplete.command]
        match incomplete.what:
            case Missing.UNREADABLE_TIME:
                return f"「{shown}」を日時として読めませんでした。例: {example}"
            case Missing.BAD_ID:
                return f"「{shown}」はIDではありません。一覧にある8文字のIDを書いてください。例: {example}"
        return f"{_MISSING[incomplete.what]}例: {example}"

    def trouble(self, trouble: Trouble, detail: str = "") -> str:
        return _TROUBLES[trouble].format(detail=detail)
