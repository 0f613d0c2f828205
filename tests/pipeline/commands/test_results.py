from iadsr.pipeline.commands.results import Result


class Example(Result):
    def __str__(self) -> str:
        return "1 < 2"

    def tables(self):
        yield [["name", "count"], ["<b>", 1234], ["share", "0.5"]]


def test_a_notebook_shows_the_tables_and_the_text_and_nothing_of_them_is_markup():
    assert Example()._repr_html_() == (
        "<table><tr><th>name</th><th>count</th></tr><tr><td>&lt;b&gt;</td><td>1,234</td></tr>"
        "<tr><td>share</td><td>0.5</td></tr></table><pre>1 &lt; 2</pre>"
    )
    assert repr(Example()) == "1 < 2"
