#!/bin/bash
# A Slurm of one node on this machine: munge, slurmctld and slurmd, on the loopback device, with everything in one folder.
#
#   one_node.sh start FOLDER    prints what to set in the environment of sbatch, squeue and the like
#   one_node.sh stop FOLDER
#
# Needs root and Debian's packages slurm-wlm and munge. FOLDER must be absolute, short and without spaces.
set -eu

home=$2

start() {
    local host cpus memory
    host=$(hostname -s)
    cpus=$(nproc)
    memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.8) }' /proc/meminfo)
    mkdir -p "$home"/munge "$home"/state "$home"/spool
    # munged accepts no folder that others may write to.
    chmod 755 "$home" "$home"/munge
    head -c 128 /dev/urandom > "$home/munge/key"
    chmod 400 "$home/munge/key"
    munged --force --key-file="$home/munge/key" --socket="$home/munge/socket" --pid-file="$home/munge/pid" \
        --log-file="$home/munge/log" --seed-file="$home/munge/seed"

    # Processes are found by their parents, and not confined: the machine may be a container without cgroups of its own.
    cat > "$home/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$home/munge/socket
CryptoType=crypto/munge
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SchedulerParameters=sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF="$home/slurm.conf"
    slurmctld -c
    slurmd -c
    for _ in $(seq 100); do
        if sinfo -h -t idle -o %n 2>> "$home/sinfo.log" | grep -q .; then
            echo "SLURM_CONF=$home/slurm.conf"
            return
        fi
        sleep 0.2
    done
    echo "the node does not become idle:" >&2
    tail "$home"/slurmctld.log "$home"/slurmd.log >&2
    stop
    return 1
}

stop() {
    for pid in slurmd.pid slurmctld.pid munge/pid; do
        if [ -s "$home/$pid" ]; then
            kill "$(cat "$home/$pid")" || true
        fi
    done
}

case $1 in
    start) start ;;
    stop) stop ;;
    *) echo "one_node.sh start|stop FOLDER" >&2; exit 2 ;;
esac
