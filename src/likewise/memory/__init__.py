"""Embeddings kept from earlier steps that views are compared with, and their clusters."""

from likewise.memory.clusters import Clusters
from likewise.memory.rows import LABEL, Bank, Column, History, Queue

__all__ = ["LABEL", "Bank", "Clusters", "Column", "History", "Queue"]
