# SPDX-License-Identifier: Apache-2.0
# bash completion for xenolith

_xenolith_savesets() {
	# Only where no secret has to be typed.
	if [[ -z ${XENOLITH_PASSPHRASE_FILE-}${XENOLITH_PASSPHRASE_COMMAND-}${XENOLITH_KEY_FILE-} ]]; then
		return
	fi
	xenolith list -q </dev/null 2>/dev/null | awk 'NR > 1 { print $1 }'
	echo latest
}

_xenolith() {
	local cur prev words cword
	_init_completion || return
	local common="--json --quiet --help"
	local open="--store --passphrase-file --passphrase-command --key-file --recovery-key-file"
	local verb=${words[1]-}

	case $prev in
	--store | -s)
		_filedir -d
		return
		;;
	--*-file)
		_filedir
		return
		;;
	--verify-new)
		mapfile -t COMPREPLY < <(compgen -W "off sample all" -- "$cur")
		return
		;;
	--compression)
		mapfile -t COMPREPLY < <(compgen -W "auto none zstd" -- "$cur")
		return
		;;
	--xva-checksum)
		mapfile -t COMPREPLY < <(compgen -W "xxhash sha1" -- "$cur")
		return
		;;
	--format)
		local formats="raw vhd nbd"
		[[ $verb == backup ]] && formats="raw vhd xva qcow2 vmdk vhdx nbd"
		mapfile -t COMPREPLY < <(compgen -W "$formats" -- "$cur")
		return
		;;
	esac

	if ((cword == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "init backup restore list show verify scrub rehearse stats key help version" -- "$cur")
		return
	fi
	if [[ $verb == key && $cword -eq 2 ]]; then
		mapfile -t COMPREPLY < <(compgen -W "add list remove export" -- "$cur")
		return
	fi
	if [[ $cur == -* ]]; then
		local own=
		case $verb in
		init) own="--readable --sealed --recovery-file --no-recovery-check --slot-name" ;;
		backup) own="--vm --vm-uuid --exclude --name --tag --note --format --compression --verify-new --lanes
			--limit-rate --no-compare" ;;
		restore) own="--format --overwrite --keep-going --lanes --xva --xva-checksum" ;;
		list) own="--vm --tag" ;;
		show) own="--document" ;;
		verify | scrub | rehearse) own="--lanes" ;;
		key) own="--name --new-passphrase-file --new-passphrase-command --new-key-file --paper --dry-run --yes" ;;
		esac
		mapfile -t COMPREPLY < <(compgen -W "$own $open $common" -- "$cur")
		return
	fi
	case $verb in
	backup | init)
		_filedir
		;;
	restore | show | verify | rehearse)
		mapfile -t COMPREPLY < <(compgen -W "$(_xenolith_savesets)" -- "$cur")
		[[ $verb == restore ]] && _filedir
		;;
	esac
}

complete -F _xenolith xenolith
