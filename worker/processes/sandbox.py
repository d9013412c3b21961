"""The sandbox: the four upstream services over a generated book."""

from adapters.inbound.cli.wiring import BookOptions
from adapters.sandbox.app import create_app
from adapters.sandbox.book import Book
from config.settings import Settings
from worker.loops import serve


def run(settings: Settings, options: BookOptions) -> None:
    book = Book.generate(options.portfolios, options.securities, seed=options.seed, prices=options.prices)
    serve(create_app(book), settings, host=settings.sandbox_host, port=settings.sandbox_port)
