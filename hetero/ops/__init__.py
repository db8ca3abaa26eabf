"""One file a family of ops; `hetero.ops.table` names them all."""
