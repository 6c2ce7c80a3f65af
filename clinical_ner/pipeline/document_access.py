"""What a component may ask of a Doc after prediction, when the Doc may have lost what it needs."""

from __future__ import annotations

import weakref
from functools import partial
from itertools import takewhile
from typing import Any

from spacy.language import Language
from spacy.pipeline.tok2vec import Tok2VecListener
from spacy.tokens import Doc
from thinc.api import Model

from ..decoding.document_lattice import DocumentLattice
from ..errors import ClinicalNerError


class DocumentAccess:
    """The pipeline of a component, and the lattice of the document that was last asked about.

    Both are held weakly: a component keeps neither its pipeline nor a document alive. Neither goes
    to another process, nor into a copy; only that the component listens alone goes with it.
    """

    def __init__(self, nlp: Language | None = None, *, listens_alone: bool = False) -> None:
        self._nlp = (lambda: None) if nlp is None else weakref.ref(nlp)
        self._doc: Any = lambda: None
        self._last: DocumentLattice | None = None
        self._listens_alone = listens_alone

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Pickle and copy it as one that knows neither pipeline nor document."""
        nlp = self._nlp()
        pipes = [] if nlp is None else [pipe for _, pipe in nlp.pipeline]
        component = next((p for p in pipes if getattr(p, "_access", None) is self), None)
        alone = self._listens_alone if component is None else self.listens_alone(component)
        return partial(DocumentAccess, listens_alone=alone), ()

    def listens_alone(self, component: Any) -> bool:
        """Whether nobody but a component listens to the transformers that it listens to.

        Components that read ``doc._.trf_data`` without a listener cannot be told.
        """
        nlp = self._nlp()
        if nlp is None:
            return self._listens_alone
        # All components: the listeners of a disabled one count. Only transformers of
        # spacy-transformers, whose import would bring torch, have an annotation setter.
        transformers: list[Any] = [
            pipe for _, pipe in nlp.components if hasattr(pipe, "set_extra_annotations")
        ]
        listening = {name for pipe in transformers for name in pipe.listening_components}
        return listening == {component.name}

    def encoders(self, component: Any) -> list[tuple[str, Any]]:
        """Names and components before a component that it may listen to, if it listens to any."""
        nlp = self._nlp()
        listens = any(hasattr(node, "upstream_name") for node in component.model.walk())
        earlier = takewhile(lambda item: item[1] is not component, nlp.components if nlp else ())
        return [(name, pipe) for name, pipe in earlier if listens and hasattr(pipe, "listener_map")]

    def drop_meta(self, entry: str, name: str) -> None:
        """Remove what the pipeline's meta says of a component, where its pipeline is known."""
        nlp = self._nlp()
        if nlp is None or entry not in nlp.meta:
            return
        nlp.meta[entry].pop(name, None)
        if not nlp.meta[entry]:
            del nlp.meta[entry]

    def forget(self) -> None:
        """Drop the lattice: the probabilities that it was made of are no longer valid."""
        self._last = None

    def lattice(self, doc: Doc) -> DocumentLattice | None:
        """What was kept for this document, if it was the last one and still has its tokens."""
        if self._last is None or self._doc() is not doc or self._last.length != len(doc):
            return None
        return self._last

    def keep(self, doc: Doc, lattice: DocumentLattice) -> None:
        """Keep a lattice for as long as the document lives and no other one is asked about."""
        self._doc = weakref.ref(doc, lambda _: self.forget())
        self._last = lattice

    def complete(self, doc: Doc, component: Any) -> Doc:
        """A document with the same tokens that holds what a component's model needs.

        Returns:
            The document itself if it does; else a copy of its tokens, on which the components of
            the pipeline before this one ran.

        Raises:
            ClinicalNerError: the pipeline is gone or lacks the component, or those before it do not
                leave what the model needs, for instance since they are disabled.
        """
        if len(doc) == 0 or holds_inputs(component.model, doc):
            return doc
        nlp = self._nlp()
        earlier = [] if nlp is None else [pipe for _, pipe in nlp.pipeline]
        if nlp is None or not any(pipe is component for pipe in earlier):
            raise ClinicalNerError(
                f"Component '{component.name}' cannot compute the token vectors of this document "
                "again: it is in no pipeline. Ask with a Doc that went through the whole "
                "pipeline, as nlp(text) gives it."
            )
        words, spaces = [t.text for t in doc], [bool(t.whitespace_) for t in doc]
        again = Doc(nlp.vocab, words=words, spaces=spaces)
        for pipe in earlier:
            if pipe is component:
                break
            again = pipe(again)
        if not holds_inputs(component.model, again):
            raise ClinicalNerError(
                f"Component '{component.name}' listens to a transformer or tok2vec that did not "
                "run before it. If it was taken from another pipeline, take that component too, "
                "and add it first; if it is disabled, ask with a Doc that went through the whole "
                "pipeline, as nlp(text) gives it."
            )
        return again


def holds_inputs(model: Model, doc: Doc) -> bool:
    """Whether the listeners of a model find on a document what they pass on.

    Without it they pass on zeros, and say nothing. A model without listeners needs nothing.
    """
    for node in model.walk():
        if isinstance(node, Tok2VecListener):
            if doc.tensor.shape[0] != len(doc):
                return False
        # The listener of spacy-transformers, whose import would bring torch.
        elif hasattr(node, "upstream_name"):
            data = getattr(doc._, "trf_data", None)
            if data is None or len(data.align.lengths) != len(doc):
                return False
    return True


def release_inputs(doc: Doc) -> None:
    """Take the output of a transformer off a document, where there is one."""
    if Doc.has_extension("trf_data"):
        doc._.trf_data = None
