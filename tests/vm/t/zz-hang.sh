#!/bin/bash
. /project/tests/vm/lib.sh
echo "QEMU-here"; sleep 1000
