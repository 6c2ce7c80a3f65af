"""Dividing a corpus into parts and folds by document, stratified by entity type."""
