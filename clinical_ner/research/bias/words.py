"""The words of random text: common English and clinical ones, every one a single token."""

from __future__ import annotations

_TEXT = """
    the of and to in a for with was on by at from that were as an no not after
    before during without which he she his her had has have been be is are but then also
    into over under between within about since until when while where who what this these both each
    all most some other another same new old first second third last next one two three
    four five six seven eight nine ten day days week weeks month months year years hour hours
    morning night today early late later ago once twice daily left right upper lower
    anterior posterior lateral medial bilateral acute chronic mild moderate severe normal abnormal
    stable positive negative high low large small dull clear dark pale red white blue
    patient man woman boy girl child mother father family history doctor nurse
    physician surgeon hospital clinic ward department emergency admission discharge transfer visit
    examination evaluation assessment diagnosis treatment therapy surgery operation procedure
    management prognosis outcome recovery course complaint symptom sign finding result report case
    study test scan image biopsy culture sample blood serum plasma urine sputum stool fluid
    tissue cell count level rate pressure temperature pulse weight height value range dose tablet
    capsule injection infusion drug antibiotic steroid insulin aspirin heparin morphine vaccine
    fever cough pain headache nausea vomiting diarrhea fatigue weakness dizziness rash swelling
    bleeding dyspnea edema itching chills anemia diabetes hypertension asthma pneumonia sepsis
    infection inflammation stroke cancer tumor mass lesion nodule cyst abscess ulcer fracture
    fibrosis stenosis thrombosis embolism effusion hernia obstruction head neck face eye ear nose
    mouth throat tongue chest breast heart lung liver kidney spleen stomach bowel colon bladder
    uterus ovary prostate brain spine bone joint muscle skin nerve artery vein node hand arm leg
    foot knee hip shoulder back abdomen showed revealed noted found presented developed received
    started stopped increased decreased improved worsened remained underwent performed confirmed
    suspected considered followed treated admitted discharged referred removed measured observed
    reported
"""
WORDS: tuple[str, ...] = tuple(_TEXT.split())
